"""The migrations, a module each, named by their number. One that was released is never changed."""
