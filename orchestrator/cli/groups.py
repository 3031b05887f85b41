"""Groups of commands: what is missing or misspelt is answered with the choices."""

from __future__ import annotations

import click


class Commands(click.Group):
    """Names the choices where a command is missing or misspelt."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the group's own options."""
        if not args and not ctx.resilient_parsing:
            raise click.UsageError(
                f"no command given; choose from {', '.join(self.commands)}, or --help"
            )
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look a command up."""
        from trainer.errors import unknown_value

        if args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_value("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)
