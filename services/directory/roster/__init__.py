"""The import engine: stage, plan, limits, apply; set-based SQL, never a row at a time.

Entry points, in the order of a run:

* `stage.stage_rows` takes blocks of rows into the run's own stage tables (space.py says where these are);
* `plan.make_plan` compares the stage with the register and writes the plan beside it;
* `limits.too_many_rejects` and `limits.first_limit_passed` say whether it is refused or held;
* `apply.apply_plan` writes the plan to the register in the caller's transaction.

The life of a run around them is in `services.directory.operations`: `import_openings.create_run`, `stage_rows`,
`import_stages.finish_staging`, `import_plans.plan_run`, `import_applies.start_apply` and `apply_run`, in this order;
`import_reads` reads changes and issues.
"""
