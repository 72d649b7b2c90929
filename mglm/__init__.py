"""The roof and front door: mounts the commands of every stage and walks the whole road in `mglm demo`."""
