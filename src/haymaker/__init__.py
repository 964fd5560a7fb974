"""Haymaker: synthetic context extension, read through a model's retrieval heads.

`__init__.pyi` says where every public name lives. Names load when they are first used, so that `import haymaker` and
the command line's help need no torch.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
