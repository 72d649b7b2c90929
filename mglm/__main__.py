"""`python -m mglm`, the same as `mglm`."""

from mglm.cli import main

if __name__ == "__main__":  # needed: megatron's checkpoint writer starts processes that import this module again
    main()
