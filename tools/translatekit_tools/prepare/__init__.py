"""From folders of images to training data: one module a command of ``translatekit prepare``.

Originals are only ever read. Files are worked on in a pool of threads (decoders, filters and encoders release the
interpreter's lock), in the order of their names and a few at a time, so that memory stays flat.
"""
