"""From figures, findings and rows to a page, or to Markdown.

Read `render`, then `charts` (what is drawn where), `rows` (rows within a size) and `thumbnails` (attachments).
"""
