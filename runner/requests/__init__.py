"""One row becomes one request, and requests become the bodies of batches.

In: rows and templates. Out: the exact bytes to send, on disk, with a custom_id for each request.
Read `params` and `encode` (row to params), `attachments` (files to blocks), then `pack` (requests to bodies).
"""
