"""What crosses a boundary: frozen dataclasses, ports, the closed set of errors, the codec. No I/O."""
