#pragma once
// Reads frames in hex, a line each, and prints each as JSON. For the golden frames.
int decode_lines(void);
