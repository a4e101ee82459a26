"""The folder that nnU-Net's environment variable ``nnUNet_extTrainer`` points to.

It holds one shim that re-exports the trainers, and must hold nothing else: nnU-Net imports every module of the folder
as a top-level module and forgets it afterwards. Pointing it at the trainers themselves would create new classes at
each look-up, which breaks pickling.
"""
