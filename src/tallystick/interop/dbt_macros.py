"""The two Jinja files of a dbt export: the days a run covers, and the test that rows are unique."""

from __future__ import annotations

RANGE = """\
{# The days a model covers in this run, as text: `first` and `last`, and `until`, the day after the last.

   A new or fully refreshed table begins with `start`. Afterwards the newest bucket in the table and `lookback` whole
   buckets before it are made again, with everything since. The variables tally_start and tally_end take their place:
   dbt run --vars '{tally_start: 2026-01-01, tally_end: 2026-02-01}' makes the buckets of January again.
   With `whole`, the bucket of the last day is covered to its end, and `end` is the day after the last one still. #}
{% macro tally_range(grain, start, lookback, column, whole=false) %}
  {%- set one_day = modules.datetime.timedelta(days=1) -%}
  {%- set ns = namespace(first=tally_date(var('tally_start', none) or start), until=none) -%}
  {%- if var('tally_end', none) -%}
    {%- set ns.until = tally_date(var('tally_end')) -%}
  {%- else -%}
    {%- set now = run_started_at.astimezone(modules.pytz.timezone(var('tally_time_zone', 'UTC'))) -%}
    {%- set ns.until = now.date() + one_day -%}
  {%- endif -%}
  {%- if execute and is_incremental() and not var('tally_start', none) -%}
    {%- set newest = run_query('select max(' ~ column ~ ') as newest from ' ~ this).columns[0].values()[0] -%}
    {%- if newest is not none -%}
      {%- set since = tally_shift(tally_floor(tally_date(newest), grain), grain, -lookback) -%}
      {%- set ns.first = [ns.first, since] | max -%}
    {%- endif -%}
  {%- endif -%}
  {%- set end = ns.until -%}
  {%- if whole -%}
    {%- set ns.until = tally_shift(tally_floor(ns.until - one_day, grain), grain, 1) -%}
  {%- endif -%}
  {{ return({
    'first': tally_floor(ns.first, grain).isoformat(),
    'until': ns.until.isoformat(),
    'last': (ns.until - one_day).isoformat(),
    'end': end.isoformat(),
  }) }}
{% endmacro %}

{% macro tally_date(value) %}
  {{ return(modules.datetime.date.fromisoformat((value | string)[:10])) }}
{% endmacro %}

{% macro tally_months(grain) %}
  {{ return({'month': 1, 'quarter': 3, 'half': 6, 'year': 12}.get(grain, 0)) }}
{% endmacro %}

{# The first day of the bucket of a day. #}
{% macro tally_floor(day, grain) %}
  {%- set months = tally_months(grain) -%}
  {%- if months -%}
    {{ return(day.replace(month=(day.month - 1) // months * months + 1, day=1)) }}
  {%- elif grain == 'week' -%}
    {%- set since_start = (day.isoweekday() - (var('tally_week_start', 1) | int)) % 7 -%}
    {{ return(day - modules.datetime.timedelta(days=since_start)) }}
  {%- endif -%}
  {{ return(day) }}
{% endmacro %}

{# The first day of the bucket `count` buckets after the one that starts on a day. #}
{% macro tally_shift(day, grain, count) %}
  {%- set months = tally_months(grain) -%}
  {%- if months -%}
    {%- set month = day.year * 12 + day.month - 1 + months * count -%}
    {{ return(day.replace(year=month // 12, month=month % 12 + 1, day=1)) }}
  {%- endif -%}
  {{ return(day + modules.datetime.timedelta(days=count * (7 if grain == 'week' else 1))) }}
{% endmacro %}
"""

UNIQUE_ROWS = """\
{# Fails for every combination of columns that more than one row has; NULL is a value like any other. #}
{% test tally_unique_rows(model, columns) %}
select {{ columns | join(', ') }}, count(*) as number_of_rows
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
"""
