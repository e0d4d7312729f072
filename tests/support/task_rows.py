"""One row for each task, with the prompt and the right continuation that it becomes."""

from types import SimpleNamespace

from codemix.recipe.language.component import component_class

HUMANEVAL = {
    "task_id": "HumanEval/x",
    "prompt": 'def add(a, b):\n    """The sum."""\n',
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}


MBPP = {
    "task_id": 927,
    "text": "Write a class.",
    "code": "class Node:\r\n  v = 1\r\ndef value(n):\r\n  return n.v",
    "test_setup_code": "root = Node()",
    "test_list": ["assert value(root) == 1"],
}


ROWS = {  # kind -> (row, prompt of the right choice, its continuation), or (row, prompt, reference)
    "boolq": (
        {"question": "is it", "passage": "It is.", "answer": True},
        "It is.\nQuestion: is it?\nAnswer:",
        " yes",
    ),
    "piqa": (
        {"goal": "Open", "sol1": "push", "sol2": "pull", "label": 1},
        "Question: Open\nAnswer:",
        " pull",
    ),
    "sciq": (
        {
            "question": "Who?",
            "correct_answer": "d",
            "distractor1": "a",
            "distractor2": "b",
            "distractor3": "c",
            "support": " S.",
        },
        "S.\nQuestion: Who?\nAnswer:",
        " d",
    ),
    "social_iqa": (
        {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "2"},
        "Q: C. Q?\nA:",
        " b",
    ),
    "quac": (
        {"context": "It was 5.", "question": "What?", "answers": [{"text": "the 5"}]},
        "It was 5.\nQuestion: What?\nAnswer:",
        " the 5",
    ),
    "cb": (
        {"premise": "P.", "hypothesis": "H", "label": 2},
        "P.\nQuestion: H. True, False, or Neither?\nAnswer:",
        " Neither",
    ),
    "copa": (
        {"premise": "It fell.", "choice1": "It broke.", "choice2": "X.", "question": "effect", "label": 0},
        "It fell therefore",
        "  it broke.",
    ),
    "storycloze": (
        {f"InputSentence{i}": f"s{i}." for i in range(1, 5)}
        | {"RandomFifthSentenceQuiz1": "a.", "RandomFifthSentenceQuiz2": "b.", "AnswerRightEnding": "2"},
        "s1. s2. s3. s4.",
        " b.",
    ),
    "hellaswag": (
        {
            "activity_label": "Roof",
            "ctx_a": "A man.",
            "ctx_b": "he",
            "endings": ["sits [title] up", "goes"],
            "label": "0",
        },
        "Roof: A man. He",
        " sits. up",
    ),
    "winogrande": (
        {"sentence": "Ann beat _ today.", "option1": "Bea", "option2": "Cy", "answer": "2"},
        "Ann beat Cy",
        " today.",
    ),
    "arc_easy": (
        {"question": "Q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        "Question: Q?\nAnswer:",
        " y",
    ),
    "triviaqa": (
        {"question": "Who", "answer": {"aliases": ["Ann", "A."]}},
        "Question: Who?\nAnswer:",
        " Ann",
    ),
    "nq_open": ({"question": "who", "answer": ["Ann"]}, "Answer these questions:\n\nQ: who?\nA:", " Ann"),
    "humaneval": (HUMANEVAL, HUMANEVAL["prompt"], HUMANEVAL["canonical_solution"]),
    "mbpp": (
        MBPP,
        '"""\nWrite a class.\nassert value(root) == 1\n"""\n',
        "class Node:\n  v = 1\ndef value(n):\n  return n.v",
    ),
}


def task(kind, **fields):
    return component_class("task", kind)(**fields)


def options(**given):
    return SimpleNamespace(**{"data": None, "data_root": ".", "unsafe": False, "workers": 2} | given)
