"""Pictures of a model: the only place that imports matplotlib.

A module for each kind of thing that is drawn; each offers its figures one by one, by name, and
`canvas.save` makes a file of one.
"""
