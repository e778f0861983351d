"""Writes small TensorFlow models of every form into a folder: good ones, and one of each kind that is refused.

A process of its own (``python make_models.py FOLDER``), so that TensorFlow's warnings are not pytest's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(7)
    model = network(keras, layers)
    model.save(folder / "good.keras")
    model.export(folder / "good_saved_model", verbose=False)
    pictures = np.random.default_rng(3).uniform(0, 255, (4, 12, 16, 3)).astype(np.float32)
    np.savez(folder / "expected.npz", pictures=pictures, outputs=np.asarray(model(pictures)))
    lite(tf, model, pictures, folder)
    keras_models(keras, layers, folder)
    saved_models(tf, folder)
    graphs(tf, model, folder)


def network(keras, layers, picture=None):
    x = picture = keras.Input((12, 16, 3), name="picture") if picture is None else picture
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    for index in range(2):
        x = layers.Conv2D(16, 3, 2 - index, "same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(picture, x)
    random = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Trained statistics: with fresh ones there would be nothing to fold.
            layer.set_weights([random.uniform(0.5, 1.5, array.shape) for array in layer.get_weights()])
    return model


def lite(tf, model, pictures, folder: Path) -> None:
    def write(name: str, **settings) -> None:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for key, value in settings.items():
            setattr(converter, key, value)
        (folder / name).write_bytes(converter.convert())

    default = [tf.lite.Optimize.DEFAULT]
    write("good.tflite")
    write("dynamic.tflite", optimizations=default)
    write(
        "int8.tflite", optimizations=default, representative_dataset=lambda: [[picture[None]] for picture in pictures]
    )
    target = tf.lite.TargetSpec(supported_types=[tf.float16])
    write("float16.tflite", optimizations=default, target_spec=target)

    shape = tf.TensorSpec((1, 12, 16, 3), tf.float32)
    functions = {
        "flex": lambda x: tf.nn.dilation2d(x, tf.ones((3, 3, 3)), (1,) * 4, "SAME", "NHWC", (1,) * 4),
        "custom": lambda x: tf.math.igamma(x, x),
        "loop": lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) < 1e6, lambda y: (y * 2,), (x,))[0],
    }
    for name, function in functions.items():
        concrete = tf.function(function, input_signature=[shape]).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        converter.allow_custom_ops = name == "custom"
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    data = (folder / "good.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(data[: len(data) // 2])
    (folder / "noise.tflite").write_bytes(data[:8] + np.random.default_rng(1).bytes(4000))


def keras_models(keras, layers, folder: Path) -> None:
    @keras.saving.register_keras_serializable("ours")
    class Twice(layers.Layer):
        def call(self, x):
            return 2 * x

    def write(name: str, shape, *between, dtype="float32") -> None:
        picture = keras.Input(shape, name="picture", dtype=dtype)
        x = picture
        for layer in between:
            x = layer(x)
        keras.Model(picture, layers.Dense(5)(layers.Flatten()(x))).save(folder / name)

    write("lambda.keras", (12, 16, 3), layers.Lambda(lambda x: x + 1))
    write("custom.keras", (12, 16, 3), Twice())
    write("recurrent.keras", (12, 16, 3), layers.Reshape((12, 48)), layers.SimpleRNN(4))
    write("grey.keras", (12, 16, 1))
    write("uint8.keras", (12, 16, 3), layers.Rescaling(1 / 255.0), dtype="uint8")
    write("open.keras", (None, None, 3), layers.GlobalAveragePooling2D())
    write("flat.keras", (48,))
    one, two = keras.Input((12, 16, 3), name="one"), keras.Input((12, 16, 3), name="two")
    keras.Model([one, two], layers.Dense(5)(layers.Flatten()(one + two))).save(folder / "two.keras")


def saved_models(tf, folder: Path) -> None:
    shape = tf.TensorSpec((1, 12, 16, 3), tf.float32, name="picture")

    def write(name: str, function, spec=shape) -> None:
        module = tf.Module()
        module.call = tf.function(function, input_signature=[spec])
        tf.saved_model.save(module, str(folder / name), signatures={"serving_default": module.call})

    write("loop", lambda picture: tf.while_loop(lambda y: tf.reduce_sum(y) < 1e6, lambda y: (y * 2,), (picture,))[0])
    write("python", lambda picture: tf.ensure_shape(tf.numpy_function(lambda x: x, [picture], tf.float32), shape.shape))
    write("file", lambda picture: picture + tf.strings.to_number(tf.io.read_file("/etc/hostname")))
    write("gamma", lambda picture: tf.reduce_mean(tf.math.igamma(picture, picture), (1, 2)))
    write("batch", lambda picture: tf.reduce_mean(picture, (1, 2)), tf.TensorSpec((4, 12, 16, 3), tf.float32, name="p"))
    tf.saved_model.save(tf.Module(), str(folder / "unsigned"))


def graphs(tf, model, folder: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def whole(image):
        pictures = tf.cast(image, tf.float32, name="as_float")
        scores = tf.identity(model(pictures, training=False), name="raw_scores")
        doubled = tf.while_loop(lambda y: tf.reduce_sum(y) < 1e3, lambda y: (y * 2 + 1,), (scores,))[0]
        return tf.identity(doubled, name="final")

    spec = tf.TensorSpec((1, None, None, 3), tf.uint8, name="image")
    frozen = convert_variables_to_constants_v2(tf.function(whole).get_concrete_function(spec))
    graph = frozen.graph.as_graph_def()
    (folder / "graph.pb").write_bytes(graph.SerializeToString())
    (folder / "cut.pb").write_bytes(graph.SerializeToString()[:500])
    (folder / "empty.pb").write_bytes(tf.compat.v1.GraphDef(versions={"producer": 1}).SerializeToString())
    graph.node.add(name="strange", op="NoSuchOp", input=["as_float"])
    (folder / "strange.pb").write_bytes(graph.SerializeToString())
    huge = graph.node.add(name="huge", op="Const")
    huge.attr["dtype"].type = huge.attr["value"].tensor.dtype = tf.float32.as_datatype_enum
    huge.attr["value"].tensor.tensor_shape.CopyFrom(tf.TensorShape((1 << 20, 1 << 20)).as_proto())
    huge.attr["value"].tensor.float_val.append(1.0)
    added = graph.node.add(name="added", op="AddV2", input=["as_float", "huge"])
    added.attr["T"].type = tf.float32.as_datatype_enum
    (folder / "huge.pb").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
