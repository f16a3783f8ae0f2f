"""Index files of runs: where the request and the result of each row are, and its outcome.

Read `index_files` for their format, then `row_index`. `answer_index` finds answers of earlier runs by digest.
"""
