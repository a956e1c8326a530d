"""The claims with which this project was started, and one on recurrent networks that followed from them, each with its
experiment and with what its effect must be.

``rows`` says what an experiment returns, and ``networks`` has the networks that several experiments use. The experiments are
in ``saturating``, ``slopes``, ``learning`` and ``gates``, a small function for each claim. Thresholds are round numbers. They were chosen
after a first look at four seeds and have not been changed since. Some conditions were changed after quick runs. Claims 2 and
10 were split, so that the part that holds stands apart. ReLU is compared in training at a rate at which it stays finite.
Claim 9 saturates further. The slope of jaxsat itself in float16, which rounds to 1/4 (1 + eps), was left out of claim 2a.
"""

from analyses.claims import gates, learning, saturating, slopes
from analyses.claims.rows import Claim
from analyses.shared.verdicts import Wanted

CLAIMS = (
    Claim(
        "1", "after some epochs sigmoidal units saturate",
        "trained on digits by SGD: share of saturated slopes at the end less that at the start, mean over layers; worst layer: "
        "the largest rise of any layer at any time",
        "rise of saturated share", Wanted("at least", 0.05), saturating.sigmoidal_units_saturate,
    ),
    Claim(
        "2a", "s' = s(1-s) <= 1/4",
        "slope over every number of float16 and bfloat16, and over 800 001 of float64",
        "ln (largest / bound)", Wanted("at most", 0.0), slopes.slope_is_at_most_a_quarter,
    ),
    Claim(
        "2b", "... and its product with depth: 1/4 ||W|| a layer",
        "growth of ||dE/dh|| per layer on the way back, compared with the largest slope times the spectral norm of the weights, "
        "in the worst layer of each network, at the start",
        "ln (measured / bound)", Wanted("at most", 0.0), slopes.product_has_quarter_and_weights,
    ),
    Claim(
        "2c", "... and its product with depth: 1/4 a layer, whatever W",
        "mean growth of ||dE/dh|| per layer on the way back, compared with the largest slope alone, at the start",
        "ln (measured / bound)", Wanted("at most", 0.0), slopes.product_has_quarter_alone,
    ),
    Claim(
        "3", "saturated layers' weights move slower",
        "correlation of the update-to-weight ratio with the saturated share, within each network: of ranks across layers (mean "
        "over epochs); after layer and epoch means are subtracted; and where the biases of a layer are pushed outwards",
        "correlation", Wanted("at most", -0.2), saturating.saturated_layers_move_slower,
    ),
    Claim(
        "4a", "ReLU avoids this: saturation",
        "share of saturated (for ReLU: zero) slopes, at the start, at standard and critical weight scale, and its rise in "
        "training; same draws and data",
        "sigmoidal less ReLU, share", Wanted("at least", 0.05), saturating.relu_avoids_saturation,
    ),
    Claim(
        "4b", "ReLU avoids this: vanishing gradients",
        "growth of ln ||dE/dh|| per layer on the way back, at the start, at standard and critical weight scale, and trained",
        "ReLU less sigmoidal, nats per layer", Wanted("at least", 0.05), saturating.relu_avoids_vanishing,
    ),
    Claim(
        "5", "ReLU can die",
        "trained on digits by SGD: share of units with slope 0 for every example, at the end less at the start",
        "rise of dead share", Wanted("at least", 0.01), saturating.relu_can_die,
    ),
    Claim(
        "6", "large weights saturate",
        "share of saturated slopes at a larger weight scale less that at a smaller scale: last layer at the start, mean over "
        "layers after training; expected: mean field, infinite width",
        "difference of saturated share", Wanted("at least", 0.05), saturating.large_weights_saturate,
    ),
    Claim(
        "7", "a zero gradient means no learning",
        "a ReLU layer is switched off for every example during training: movement of its weights in the next step, when its "
        "gradient is exactly 0, divided by the movement in the step before",
        "movement, share of before", Wanted("at most", 0.01), learning.no_gradient_no_learning,
    ),
    Claim(
        "8", '"a gradient constantly 1 means over-fitting"',
        "gap (training less test accuracy) of linear (slope 1) and ReLU networks less the gap of sigmoidal networks, each at the "
        "setting that learns fastest; same draws and data; at equal training accuracy and after equal epochs",
        "difference of gaps", Wanted("at least", 0.01), learning.constant_gradient_overfits,
    ),
    Claim(
        "9", "in saturation a larger upstream gradient does not lead to a larger downstream one",
        "the gradient at the output is doubled in networks saturated by their biases: growth of the gradient of the first layer; "
        "expected: the chain rule",
        "downstream, doubled / single", Wanted("at most", 1.0), slopes.upstream_does_not_reach_downstream,
    ),
    Claim(
        "10a", "sigma(1000) and sigma(1001) cannot be told apart, and in which dtype from where on",
        "x from which on sigma(x) = sigma(x + 1) as computed; expected: where the exact value rounds to 1",
        "from x on", Wanted("at most", 1000.0), slopes.values_cannot_be_told_apart, logarithmic=True,
    ),
    Claim(
        "10b", "... nor can ln sigma'(1000) and ln sigma'(1001) (for comparison)",
        "x from which on ln sigma'(x) = ln sigma'(x + 1) as computed, in the closed form that jaxsat uses",
        "from x on", Wanted("at most", 1000.0), slopes.log_slopes_cannot_be_told_apart, logarithmic=True,
    ),
    Claim(
        "11", "a gate that saturates makes gradients vanish in time",
        "random recurrent networks whose gate that keeps the state is pushed into saturation by its bias, shut (-5) or open (5): "
        "growth of ln ||dE/dh_t|| per step back, less that of the same networks with bias 0; weight scale 1, fresh inputs; "
        "expected: mean field with untied weights",
        "pushed less centred, nats per step", Wanted("at most", -0.05), gates.saturated_gates_make_gradients_vanish,
    ),
)  # fmt: skip
