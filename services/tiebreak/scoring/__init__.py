"""Events to predictions: decode a batch into columns, run the model beside the event loop, swap it between two batches."""
