"""The Darknet formats: .cfg text, the network it describes, and .weights files."""
