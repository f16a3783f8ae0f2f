"""Load a YAML file as a checked, frozen Spec, or report all of its mistakes with their places."""
