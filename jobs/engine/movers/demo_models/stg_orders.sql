-- materialized: view
-- One row per order that was not cancelled, with its product's category and what it came to.
select
    o.order_id,
    o.customer_id,
    o.product_id,
    p.category,
    o.channel,
    o.status,
    o.ordered_at,
    cast(o.ordered_at as date) as ordered_on,
    o.quantity,
    cast(o.quantity * o.unit_price * (1 - o.discount) as decimal(12, 2)) as amount,
    cast(o.quantity * (o.unit_price * (1 - o.discount) - p.cost) as decimal(12, 2)) as margin
from orders as o
inner join products as p on p.product_id = o.product_id
where o.status <> 'cancelled'
