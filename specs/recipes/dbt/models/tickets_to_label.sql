-- The rows of labels.yaml.
{{ config(materialized='table') }}

select id, subject, body
from {{ ref('tickets') }}
where body is not null
