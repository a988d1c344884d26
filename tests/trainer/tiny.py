"""A recipe so small that a whole epoch takes a second."""

TINY = """
[model]
depth = 2
width = 32
head_width = 16
kv_heads = 1
context = 32
[data]
tokenizer = "bytes"
held_out = 0.1
[train]
batch = 4
threads = 1
[sample]
tokens = 8
"""
BFLOAT16 = TINY.replace("[train]", '[train]\nprecision = "bfloat16"')
ADAMW = TINY + '[optim]\nmatrices = "adamw"\n'
