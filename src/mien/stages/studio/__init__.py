"""`mien studio`: record samples of labels of one's own, train on them, try the model, keep it.

    pictures -> detector of the task -> recording.csv -> the pipeline -> a bundle that is tried

The way of the data:
1. The page sends pictures, of the camera while a button is held, or chosen files.
2. The task's detector makes a row of each: the numbers of a hand. The picture is dropped.
3. `recording.py` stores the rows in data/studio/<task>/recording.csv, whole or as before.
4. Each row has its label and session; the last sessions of a label are those of val and test.
5. `readiness.py` says in words what is missing before a training, and what makes it doubtful.
6. `training.py` runs the stages data to evaluate on that file in a thread, with a log.
7. The choice is copied to models/<task>/studio/new; the service loads it as any new bundle.
8. The model before it lies in models/<task>/studio/before, to compare the two.
9. Keep registers the choice as every other run does.
10. `export.py` packs the bundle with a script that needs nothing of mien.

Knows no task by name and no HTTP: `stages/serve/extension.py` makes addresses of `Studio.calls`.
"""
