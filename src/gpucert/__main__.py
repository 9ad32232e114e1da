"""`python -m gpucert`: the same door as the `gpucert` command."""

from gpucert.cli import main

if __name__ == "__main__":
    main(prog_name="gpucert")
