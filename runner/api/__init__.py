"""The Message Batches API, through the real SDK.

In: bytes on disk, ids. Out: RemoteBatch, raw results, and errors sorted by what to do next.
Read `client` first. This is the only package that imports anthropic, and it does so with the first client,
because the import takes seconds. The SDK's own retries are off: a create that is sent twice is paid twice.
"""
