from dataclasses import replace

import pytest

from membrane.errors import NoSuchFile, UsageError
from membrane.training.recipe import AugmentationRecipe, ObjectiveRecipe, Recipe, read_recipe


@pytest.fixture
def recipe_of(tmp_path):
    def read(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return read_recipe(path)

    return read


def test_the_default_recipe_is_one_that_can_be_used():
    assert Recipe().check() == Recipe()


def test_what_is_written_is_read_back_the_same(recipe_of):
    recipe = Recipe(
        steps=7, augmentation=AugmentationRecipe(snr_db=(1.0, 2.5)), precision="float32"
    )
    assert recipe_of(recipe.as_toml()) == recipe


def test_an_empty_file_is_the_default_recipe(recipe_of):
    assert recipe_of("") == Recipe()


def test_whole_numbers_may_stand_for_others(recipe_of):
    assert recipe_of("[augmentation]\nsnr_db = [0, 10]\n").augmentation.snr_db == (0.0, 10.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps = 3", "stepps is not known: choose from steps, front_steps"),
        (f"{'x' * 9000} = 3", "x is not known: choose from"),
        (f"steps = '{'x' * 9000}'", "x: it must be a whole number"),
        ("steps = 0", "steps is 0: it must be a whole number from 1"),
        ("steps = 2.5", "steps is 2.5: it must be a whole number"),
        ("steps = true", "steps is True: it must be a whole number"),
        ("speakers = 1", "speakers is 1"),
        ("learning_rate = nan", "learning_rate is nan: it must be a number"),
        ('precision = "int4"', "choose from bfloat16, float32"),
        ("precision = 16", "it must be text in quotes"),
        ("augmentation = 3", "augmentation must be a table"),
        ("[augmentation]\nsnr_db = [9, 1]", "the lower one first, from -30 to 90"),
        ("[augmentation]\nsnr_db = 9", "must be two numbers"),
        ("[augmentation]\nsnr_db = [9, true]", "must be two numbers"),
        ("[augmentation]\nband_share = 0.9", "more than 1 together"),
        (
            "[augmentation.noises]\nwind = 1",
            "augmentation.noises.wind is not known: choose from bab",
        ),
        ("[network]\nfront = false", "network.side needs network.front"),
        ("[network]\nfront = 1", "must be true or false"),
        ("steps = ", "cannot be read"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_and_named(recipe_of, text, message):
    with pytest.raises(UsageError, match=r"the recipe .*recipe\.toml") as refused:
        recipe_of(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_missing_recipe_is_said_to_be_missing(tmp_path):
    with pytest.raises(NoSuchFile, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("kinds", ["noises", "codecs"])
def test_kinds_that_never_occur_are_refused(recipe_of, kinds):
    names = {"noises": "babble files coloured tonal bursts", "codecs": "telephone gsm mp3 opus"}
    lines = "\n".join(f"{name} = 0" for name in names[kinds].split())
    with pytest.raises(UsageError, match=f"augmentation.{kinds} are all 0"):
        recipe_of(f"[augmentation.{kinds}]\n{lines}\n")


def test_a_recipe_without_any_objective_is_refused():
    nothing = ObjectiveRecipe(distillation=0, margin=0, contrastive=0, ge2e=0)
    with pytest.raises(UsageError, match="every objective weighs nothing"):
        replace(Recipe(), objectives=nothing).check()


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("", 700),
        ("steps = 10", 5),
        ("steps = 1", 0),
        ("front_steps = 0", 0),
        ("[network]\nfront = false\nside = false", 0),
    ],
)
def test_the_front_learns_alone_in_half_of_the_steps_at_most(recipe_of, text, alone):
    assert recipe_of(text).alone == alone
