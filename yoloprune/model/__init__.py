"""The torch reading of a spec."""
