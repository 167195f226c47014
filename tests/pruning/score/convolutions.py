"""Three convolutions."""

CFG = """[net]
height=10
width=10
channels=3
[convolutional]
batch_normalize=1
filters=6
size=1
activation=leaky
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
[convolutional]
filters=5
size=1
activation=linear
"""
