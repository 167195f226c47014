"""What `make demo` needs and the package does not: a data set of rendered hands."""
