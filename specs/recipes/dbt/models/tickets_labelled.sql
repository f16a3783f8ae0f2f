{{ config(materialized='table') }}

select tickets.id, tickets.subject, labels.label, labels.outcome
from {{ ref('tickets') }} as tickets
left join {{ source('runner', 'labels') }} as labels on labels.id = tickets.id
