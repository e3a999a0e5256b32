"""`tiebreak simulate`: a labelled file replayed through the real policy and the real learner, policies and budgets side by side."""
