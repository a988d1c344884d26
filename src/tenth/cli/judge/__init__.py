"""What people are asked about a model beside the gate: samples, pairs, forecasts, drills, alarms."""
