"""Other forms of a model than static INT8: half floats, integers made on the fly, integer weights, raw pixels in."""

from edgewright.optimize.variants.dynamic import dynamic_form
from edgewright.optimize.variants.float16 import float16_form
from edgewright.optimize.variants.form import ModelForm
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.optimize.variants.weight_only import weight_only_form

__all__ = ["ModelForm", "dynamic_form", "float16_form", "uint8_input_form", "weight_only_form"]
