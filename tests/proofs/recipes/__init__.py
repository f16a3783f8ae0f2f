"""Proof that the recipes work with the tools that they are for."""
