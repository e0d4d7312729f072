"""`python -m codemix.recipe.docs`: write the generated pages of docs/, made by recipe/reference."""

from codemix.recipe.reference.pages import write

if __name__ == "__main__":
    write()
