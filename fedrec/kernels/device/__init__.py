"""What a round is made of on a GPU: few operations, none of which waits for the host."""
