"""Read and write databases by URL: the only package that uses SQLAlchemy."""
