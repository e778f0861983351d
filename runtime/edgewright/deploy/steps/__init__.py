"""The steps of installing and removing, one file each; see ``edgewright.deploy.plan`` for what a step is."""
