"""An issue as a letter: its values, its templates, its looks, and one recipient's finished bytes."""
