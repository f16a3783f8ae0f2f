"""A proof that a run may be killed before each of its operations, with its state in a folder or shared."""
