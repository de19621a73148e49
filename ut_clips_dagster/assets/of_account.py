"""An asset of ours as it is in an account with a name: the same body, all names the account's."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, multi_asset
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

from ut_clips_dagster.account import Account


def of_account(asset: AssetsDefinition, account: Account) -> AssetsDefinition:
    """The asset with the account's keys, partitions, pool and resources; in the account without a name as it is.

    The body takes its resources as parameters, called as in the account without a name, and learns from
    `archive.account` what else is called how.
    """
    if not account.name and not account.key_prefix:
        return asset
    body = asset.op.compute_fn
    if not isinstance(body, DecoratedOpFunction):
        raise TypeError(f"{asset.op.name} was made by no decorator")
    resources = sorted(asset.op.required_resource_keys)

    @multi_asset(
        name=account.named(asset.op.name),
        specs=[account.spec(spec) for spec in asset.specs],
        check_specs=[
            check._replace(asset_key=account.key(check.asset_key.to_user_string())) for check in asset.check_specs
        ],
        can_subset=asset.can_subset,
        backfill_policy=asset.backfill_policy,
        pool=account.named(asset.op.pool) if asset.op.pool else None,
        op_tags=asset.op.tags,
        required_resource_keys={account.named(key) for key in resources},
    )
    def renamed(context: AssetExecutionContext) -> Iterator[Any]:
        given = {key: account.resource(context, key) for key in resources}
        yield from body.decorated_fn(context, **given)

    return renamed
