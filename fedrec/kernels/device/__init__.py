"""The parts of a round on a GPU: few operations, none of which waits for the host."""
