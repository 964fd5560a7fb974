"""Every chart of the project: rows or arrays in, an Altair chart out. Importing a module here imports Altair."""
