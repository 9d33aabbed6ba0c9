//! Series of the literature with the figures published or recomputed for them.

use super::{Accuracy, ClassRatios, Form, Grade, Grey, Reach, gate, real};

/// A published example of the classic form.
struct Vector {
    /// Where it is from.
    source: &'static str,
    series: &'static [f64],
    a: f64,
    b: f64,
    fitted: &'static [f64],
    ahead: &'static [f64],
    c: f64,
    p: f64,
    /// In percent.
    mape: f64,
}

const VECTORS: [Vector; 3] = [
    Vector {
        source: "road noise 1986-92: Si Shoukui, Sun Xijing, Mathematical modelling algorithms",
        series: &[71.1, 72.4, 72.4, 72.1, 71.4, 72.0, 71.6],
        a: 0.002_344,
        b: 72.657_270,
        fitted: &[71.1, 72.4057, 72.2362, 72.0671, 71.8984, 71.7301, 71.5622],
        ahead: &[71.3946, 71.2275, 71.0608],
        c: 0.4807,
        p: 0.857,
        mape: 0.234,
    },
    Vector {
        source: "Deng Julong's classic example",
        series: &[2.874, 3.278, 3.337, 3.390, 3.679],
        a: -0.037_204,
        b: 3.065_363,
        fitted: &[2.874, 3.2320, 3.3545, 3.4817, 3.6137],
        ahead: &[3.7507, 3.8928, 4.0404],
        c: 0.2125,
        p: 1.0,
        mape: 1.602,
    },
    Vector {
        source: "the example of the Python package greytheory 2.0.5",
        series: &[223.3, 227.3, 230.5, 238.1, 242.9, 251.1],
        a: -0.025_283,
        b: 217.595_663,
        fitted: &[223.3, 226.0874, 231.8764, 237.8136, 243.9029, 250.1481],
        ahead: &[256.5532, 263.1223, 269.8596],
        c: 0.0991,
        p: 1.0,
        mape: 0.409,
    },
];

/// Agreement to the digits shown.
fn same(what: &str, value: f64, published: f64, digits: i32) {
    let half = 0.5 * 10_f64.powi(-digits) * (1.0 + 1e-6);
    assert!((value - published).abs() <= half, "{what}: {value} is not {published}");
}

#[test]
fn the_classic_form_gives_the_published_figures() {
    for vector in VECTORS {
        let Vector { source, series, .. } = vector;
        let grey = Grey::fit(series, Form::Classic).unwrap();
        same(source, grey.a(), vector.a, 6);
        same(source, grey.b(), vector.b, 6);
        let fitted = grey.fitted();
        assert_eq!(fitted.len(), vector.fitted.len());
        for (value, published) in fitted.iter().zip(vector.fitted) {
            same(source, *value, *published, 4);
        }
        for (steps, published) in (1..).zip(vector.ahead) {
            same(source, grey.ahead(steps), *published, 4);
        }
        let accuracy = Accuracy::of(series, &fitted).unwrap();
        same(source, accuracy.c, vector.c, 4);
        same(source, accuracy.p, vector.p, 3);
        same(source, accuracy.mape * 100.0, vector.mape, 3);
    }
}

#[test]
fn road_noise_has_the_published_class_ratios_and_grade() {
    let [noise, classic, _] = VECTORS;
    let ratios = ClassRatios::of(noise.series).unwrap();
    for (ratio, published) in
        ratios.ratios.iter().zip([0.9820, 1.0, 1.0042, 1.0098, 0.9917, 1.0056])
    {
        same("class ratio", *ratio, published, 4);
    }
    same("lower bound", ratios.low, 0.7788, 4);
    same("upper bound", ratios.high, 1.2840, 4);
    assert!(ratios.pass());
    for (vector, grade) in [(noise, Grade::Qualified), (classic, Grade::Good)] {
        let grey = Grey::fit(vector.series, Form::Classic).unwrap();
        let accuracy = Accuracy::of(vector.series, &grey.fitted()).unwrap();
        assert_eq!(accuracy.grade(), grade, "{}", vector.source);
        assert_eq!(grey.reach(), Reach::Long);
    }
}

#[test]
fn a_series_that_jumps_is_fitted_but_not_let_through() {
    let changge = [10155.0, 12588.0, 23480.0, 35388.0];
    let grey = Grey::fit(&changge, Form::Classic).unwrap();
    same("a", grey.a(), -0.472_944, 6);
    same("b", grey.b(), 5_712.940_990, 6);
    for (value, published) in grey.fitted().iter().zip([10155.0, 13445.4816, 21576.1251, 34623.466])
    {
        same("fitted", *value, published, 3);
    }
    same("next", grey.ahead(1), 55560.69, 2);
    assert_eq!(grey.reach(), Reach::Short);
    let ratios = ClassRatios::of(&changge).unwrap();
    for (ratio, published) in ratios.ratios.iter().zip([0.8067, 0.5361, 0.6635]) {
        same("class ratio", *ratio, published, 4);
    }
    same("lower bound", ratios.low, 0.6703, 4);
    same("upper bound", ratios.high, 1.4918, 4);
    assert_eq!(ratios.outside().map(|(index, _)| index), Some(2));
    assert!(gate::gated(&changge).is_err());
}

#[test]
fn on_doubling_the_classic_form_is_a_fifth_short() {
    let doubling: Vec<f64> = (0..6).map(|k| 100.0 * 2_f64.powf(real(k))).collect();
    let ahead = |form| Grey::fit(&doubling, form).unwrap().ahead(3);
    same("unbiased", ahead(Form::Unbiased), 25_600.0, 6);
    same("classic", ahead(Form::Classic), 20_157.0, 0);
}
