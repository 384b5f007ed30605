"""The checks that hold for the data of every task, one per file."""

from . import (
    class_imbalance,
    duplicates,
    empty_class,
    group_leakage,
    label_conflict,
    multiple_subjects,
    near_duplicates,
    near_split_leakage,
    no_subject,
    split_leakage,
    spurious_correlation,
    unreadable,
)

SHARED_CHECKS = (
    unreadable.CHECK,
    duplicates.CHECK,
    split_leakage.CHECK,
    near_duplicates.CHECK,
    near_split_leakage.CHECK,
    group_leakage.CHECK,
    label_conflict.CHECK,
    empty_class.CHECK,
    class_imbalance.CHECK,
    spurious_correlation.CHECK,
    no_subject.CHECK,
    multiple_subjects.CHECK,
)
