"""A teacher's knowledge brought into other nets: tasks, teachers, soft targets, students beside their controls."""
