"""All tables of a metric from sorted arrays: what SQL windows do row by row, done column by column.

Only for metrics whose cells are whole numbers that fit 64 bits and can be taken away again (`Layout.is_narrow`); the
statements of `compiler/one_pass` build all others.
"""
