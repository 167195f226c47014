"""The case study: from a data set to a report, in stages that can be stopped and resumed."""
