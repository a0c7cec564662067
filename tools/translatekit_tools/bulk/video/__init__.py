"""Videos and animations, frame by frame, with everything else in the file kept."""
