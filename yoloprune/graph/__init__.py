"""Networks as graphs of operators, whatever file they came from."""
