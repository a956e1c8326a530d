"""``slow`` marks more cases of what is tested quickly too: `make test` leaves no kind of check out."""

from tests import quick_cases

# Test functions without a quick case, and why.
EXCUSED: dict[str, str] = {
    # They kill or start processes.
    "test_killed_at_any_moment_it_ends_the_same": "kills processes, five times",
    "test_processes_share_it_and_one_is_killed": "kills processes",
    "test_an_executor_of_processes_and_one_is_killed": "kills processes",
    "test_hosts_of_a_batch_job_all_end_well": "two processes of jax.distributed",
    "test_devices_do_not_matter": "a process with eight simulated devices",
    "test_processes_share_a_store": "two processes, one killed",
    "test_hosts_of_jax_distributed_share_a_store": "three processes of jax.distributed",
    "test_an_engine_gives_the_same_numbers": "starts processes",
    "test_jobs_through_submitit": "starts jobs through submitit",
    "test_ranks_of_mpi_give_the_same_numbers": "starts processes",
    "test_four_processes_that_start_one_training_together_all_end_well": "starts processes",
    "test_processes_compute_it_and_a_killed_pool_leaves_a_store_that_goes_on": "starts and kills processes",
    "test_processes_train_it_and_a_killed_pool_leaves_checkpoints_that_go_on": "starts and kills processes",
    "test_a_worker_dies_and_another_comes_late_and_the_scheduler_is_restarted": "starts and kills processes of a cluster",
    "test_a_scheduler_that_does_not_come_back_is_said": "kills processes",
    "test_killed_for_good_and_resumed_equals_the_undisturbed_run": "kills processes",
    "test_only_a_small_study_compiles_with_other_flags_and_its_data_tell_them": "starts three processes",
    "test_xla_reads_the_flags_though_jax_and_the_analyses_are_imported_before": "starts a process",
    "test_a_sweep_with_several_decompositions_ends": "starts processes",
    "test_options_of_a_path_are_kept_and_travel_to_workers": "starts a server of objects",
    "test_a_bucket_that_is_not_there_is_one_line_before_work": "starts a server of objects",
    "test_a_cluster_within_the_process_gives_the_same_bits": "starts a cluster",
    # They draw full figures, train, or run whole pages.
    "test_doubling_is_linear_until_float32_underflows": "an experiment of the claims",
    "test_what_moves_a_layer_without_a_gradient": "an experiment of the claims",
    "test_a_gate_that_is_shut_and_a_gate_that_is_open": "an experiment of the claims",
    "test_an_analysis_goes_on_from_its_store": "a whole figure, twice",
    "test_jitted_losses_have_the_same_bits": "compiles every example anew",
    "test_a_network_of_many_sigmoid_layers_reads_zero": "a whole tutorial",
    "test_spectra_of_a_trained_network": "a whole tutorial",
    "test_a_report_leads_to_a_cure": "a whole tutorial",
    "test_results_may_be_written_over_by_the_same_analysis": "a small figure, twice",
    "test_what_is_wrong_is_named": "builds a site",
    "test_examples_of_the_builder_run": "needs the environment of the site",
    "test_built_pages_link_to_what_is_there_and_load_nothing_from_outside": "needs the built site",
    "test_in_a_browser_no_page_has_errors_or_is_wider_than_a_phone_and_the_search_finds_functions": "needs the built site",
    # More of what a quick test holds too.
    "test_derivatives_are_the_limits_of_differences": "quick: test_derivative_under_vmap_and_reverse_mode",
    "test_long_and_wide_products": "quick: test_every_value_is_right_to_1e_9",
    "test_single_precision_input": "quick: lowering in float32, and spectra in sweeps of float32",
    "test_values_of_saturated_networks": "quick: test_every_value_is_right_to_1e_9, spread 12",
    "test_breakdown_leaves_neither_nan_nor_ghosts": "quick: test_relu_deep_network_has_no_ghosts",
    "test_jacobian_is_the_limit_of_differences": "quick: test_jacobian_is_the_product_of_its_factors",
    "test_spectra_have_derivatives_in_both_modes_without_float64": "quick: derivatives in float64",
    "test_sigmoid_is_rescued_by_no_scale_that_does_not_saturate_it": "quick: critical scales in closed form",
    "test_first_order_is_the_exact_law_of_wide_networks": "quick: test_gradients_of_other_networks",
    "test_jit_vmap_and_single_precision": "quick: the same of mean fields",
    "test_against_random_matrices": "quick: Fuss-Catalan moments and densities",
    "test_densities_have_the_moments_of_the_formulas": "quick: Fuss-Catalan moments and densities",
    "test_documented_values_outside_the_domain": "quick: bad input",
    "test_edges_of_a_spectrum_bounded_away_from_zero": "quick: Fuss-Catalan edges",
    "test_two_orthogonal_projections_share_an_atom": "quick: atoms of hard tanh",
    "test_pairs_against_closed_forms": "quick: single integrals; correlation maps",
    "test_frameworks_take_it_as_it_is": "quick: entries have the critical variance",
    "test_the_mean_squared_gradient_is_kept_from_layer_to_layer": "quick: entries have the critical variance",
    "test_a_length_that_repels": "quick: fixed points with their stability",
    "test_fixed_points_of_every_activation_are_fixed": "quick: fixed points with their stability",
    "test_derivatives_are_those_of_finite_differences": "quick: jit and vmap of mean fields",
    "test_a_sweep_over_the_residual_scale_is_network_after_network": "quick: every entry is the network alone",
    "test_signals_that_leave_float32": "quick: signals of plain networks that leave float32",
    "test_a_run_can_stop_and_go_on_with_any_optimizer_state": "quick: checkpoints with one optimiser",
    "test_what_is_recorded_is_what_the_library_says_of_the_network": "quick: single records by hand",
    "test_networks_are_resolved_and_lost_directions_have_no_error": "quick: the bank of products, and the docstring of log_singular_values",
    "test_a_network_of_ones_own_is_swept_over_any_field": "quick: recurrent networks over their fields",
    "test_batches_get_what_each_product_gets_alone": "quick: networks of a batch in test_graded; the bank of products",
    "test_leading_values_stay_below_the_true_ones_and_say_what_is_missing": "quick: leading values of a wide scan",
    "test_evaluated_one_by_one_the_function_is_unchanged_bit_for_bit": "quick: numbers equal hand-written instrumentation",
    "test_equinox_and_nnx_modules_are_taken_as_they_are_with_dropout_and_batch_norm": "quick: examples of nnx; cells of haiku",
    "test_a_chosen_spectrum_is_found_between_random_rotations": "quick: test_every_value_is_right_to_1e_9",
    "test_small_branches_are_not_vanishing_beside_their_stream": "quick: a stream that explodes; the bank of models",
    "test_a_layer_with_the_rate_of_the_standard_parametrisation_is_named_alone": "quick: both parametrisations against theory",
    "test_weights_are_drawn_once_for_all_activations_and_scales": "quick: networks that differ in a scale or activation share their draws",
    "test_no_critical_scale_is_said": "quick: critical scales in closed form",
    "test_spectra_come_with_their_errors_and_their_care_on_request": "quick: every catalogued measure; the bank of products",
    "test_recorded_gradients_of_a_sequence_are_those_of_each_examples_loss": "quick: full batches by hand; gradients by scan",
    "test_homogeneous_activations_at_lengths_beyond_float64": "quick: gradients of other networks",
    "test_directions_that_normalisation_takes_away_are_lost_exactly": "quick: exact ranks of products; layers of equal units",
    "test_trajectory_of_correlations_reaches_c": "quick: c satisfies its map, by quadrature",
    "test_a_job_file_runs_a_recurrent_network_into_a_store": "quick: a job file of an MLP; a sweep of recurrent networks",
    "test_a_training_is_continued_elsewhere_only_where_that_is_accepted": "quick: the same of a sweep",
    "test_gradients_of_relu_networks": "quick: vectors through ReLU networks; gradients of sigmoid networks",
    "test_length_trajectory_of_wide_networks": "quick: lengths in ReLU networks, and in recurrent ones",
    "test_normalised_growth_is_the_mean_field": "quick: growth with skip connections",
    "test_gradients_of_every_depth": "quick: plain networks of every depth; these networks at one depth",
    "test_jit_and_vmap_over_scales": "quick: jit and vmap of mean fields",
    "test_derivatives_of_the_depth_scale_near_1": "quick: correlations in closed form; jit and vmap of mean fields",
    "test_log_singular_values_differentiate_through_the_network": "quick: derivatives of products",
}


def test_every_test_function_has_a_quick_case():
    without = {function.split("::")[-1]: function for function in quick_cases.slow_only}
    unexcused = sorted(function for name, function in without.items() if name not in EXCUSED)
    assert not unexcused, "give each a quick case, or a reason in EXCUSED"


def test_no_mark_of_a_function_repeats_that_of_a_case():
    """A mark of the function beside marks of its cases cancels the cases that were meant to stay."""
    assert not quick_cases.marked_twice
