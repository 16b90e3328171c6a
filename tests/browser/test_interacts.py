"""Interacts and widgets as a visitor uses them."""

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

#: Shows what `print` brought in the interact, and nothing else.
OUTPUT = ".widget-output"


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def test_nothing_of_widgets_is_loaded_before_one(cell, watch):
    cell.evaluate("print(1)")
    assert [url for url in watch.requests if "widgets" in url] == []


def test_a_slider_drives_the_function(cell, page):
    cell.evaluate("@interact\ndef f(n=(0, 10, 1)):\n    print('n is', n)")
    expect(cell.output.locator(OUTPUT)).to_have_text("n is 0\n")
    handle = cell.output.locator(".noUi-handle")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(cell.output.locator(OUTPUT)).to_have_text("n is 3\n")


def test_a_drag_ends_with_its_last_value(cell, page):
    cell.evaluate("@interact\ndef f(n=slider(0, 50, 1)):\n    print('n is', n)")
    box = cell.output.locator(".noUi-target").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 1, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, middle, steps=50)
    page.mouse.up()
    expect(cell.output.locator(OUTPUT)).to_have_text("n is 50\n")


def test_every_kind_of_control_says_its_value(cell, page):
    cell.evaluate(
        "@interact(controls=[('go', Button(default='no', value='yes', text='Go'))])\n"
        "def f(tick=True, text='ab', number=5, choice=['one', 'two'], menu=list('abcdef'),\n"
        "      grid=InputGrid(1, 2, [1, 2]), bar=ButtonBar(['left', 'right']),\n"
        "      colour=ColorSelector('red'), radio=Selector([1, 2], selector_type='radio'), **named):\n"
        "    print(tick, text, number, choice, menu, grid, bar, colour, radio, named['go'])"
    )
    output = cell.output
    result = output.locator(OUTPUT)
    expect(result).to_have_text("True ab 5 one a [[1, 2]]  #ff0000 1 no\n")
    output.get_by_label("tick").uncheck()
    expect(result).to_contain_text("False ab")
    output.get_by_label("text").fill("xyz")
    output.get_by_label("text").press("Enter")
    expect(result).to_contain_text("False xyz 5")
    output.get_by_label("number").fill("6 * 7")
    output.get_by_label("number").press("Enter")
    expect(result).to_contain_text("xyz 42 one")
    output.get_by_role("button", name="two").click()
    expect(result).to_contain_text("42 two a")
    output.get_by_label("menu").select_option("d")
    expect(result).to_contain_text("two d [[1, 2]]")
    entry = output.locator(".interact-grid input").first
    entry.fill("9")
    entry.press("Tab")
    expect(output.locator(".interact-dirty")).to_have_count(1)
    output.get_by_role("button", name="Submit").click()
    expect(result).to_contain_text("[[9, 2]]")
    expect(output.locator(".interact-dirty")).to_have_count(0)
    output.get_by_role("button", name="right").click()
    expect(result).to_contain_text("right #ff0000")
    output.get_by_label("2", exact=True).check()
    expect(result).to_contain_text("#ff0000 2 no")
    output.get_by_role("button", name="Go").click()
    expect(result).to_contain_text("2 yes")


def test_an_error_stands_in_its_interact_and_goes_with_the_next_change(cell):
    cell.evaluate("@interact\ndef f(ok=True):\n    print('before')\n    1 / ok")
    cell.output.get_by_label("ok").uncheck()
    expect(cell.output.locator(f"{OUTPUT} .error")).to_contain_text("ZeroDivisionError")
    expect(cell.output.locator(".error")).to_have_count(1)
    cell.output.get_by_label("ok").check()
    expect(cell.output.locator(".error")).to_have_count(0)
    expect(cell.output.locator(OUTPUT)).to_have_text("before\n")


def test_inner_interacts(cell):
    cell.evaluate(
        "@interact\ndef outer(n=[2, 3]):\n    @interact\n    def inner(tick=False):\n        print('inner', n, tick)"
    )
    inner = cell.output.locator(f"{OUTPUT} {OUTPUT}")
    expect(inner).to_have_text("inner 2 False\n")
    cell.output.get_by_label("tick").check()
    expect(inner).to_have_text("inner 2 True\n")
    cell.output.get_by_role("button", name="3").click()
    expect(inner).to_have_text("inner 3 False\n")
    expect(cell.output.get_by_label("tick")).to_have_count(1)


def test_plain_widgets_and_output(cell):
    cell.evaluate(
        "import ipywidgets\nfrom IPython.display import display\nout = ipywidgets.Output()\n"
        "button = ipywidgets.Button(description='Press')\n"
        "count = 0\n"
        "@button.on_click\ndef pressed(_):\n    global count\n    count += 1\n"
        "    with out:\n        print('pressed', count)\n"
        "display(button, out)\n"
        "ipywidgets.interact(lambda x: x * 2, x=4)"
    )
    cell.output.get_by_role("button", name="Press").click()
    expect(cell.output.locator(OUTPUT).first).to_have_text("pressed 1\n")
    cell.output.get_by_role("button", name="Press").click()
    expect(cell.output.locator(OUTPUT).first).to_have_text("pressed 1\npressed 2\n")
    expect(cell.output.locator(OUTPUT).last).to_contain_text("8")


def test_a_picture_is_replaced_without_a_gap(cell):
    cell.evaluate(
        "import matplotlib.pyplot as plt\n"
        "@interact\ndef f(n=[1, 2]):\n    plt.plot([0, n])\n    plt.title(str(n))\n    plt.show()"
    )
    image = cell.output.locator(f"{OUTPUT} img")
    first = image.get_attribute("src")
    cell.output.get_by_role("button", name="2").click()
    expect(image).not_to_have_attribute("src", first)
    expect(image).to_have_count(1)


#: Roots of random polynomials, an interact of SageMathCell's users in Python 3: line 43 takes the logarithm of empty
#: bins.
ROOTS = """import itertools; import numpy as np; import matplotlib.pyplot as plt
def bin_poly_roots(Nmax = 10000,rank = 24,rand=True):
    all = itertools.product(*([[-1,1]]*(rank+1)))
    N=2**(rank+1)
    if Nmax >N:
        Nmax=N
    zera = np.empty((Nmax*rank),dtype=complex)

    for n,comb in enumerate(all):
        if n == Nmax:
            break
        if rand:
            poly_coeffs = 2*np.random.randint(0,2,size=(rank+1))-1
        else:
            poly_coeffs = comb
        zera[n*rank:(n+1)*rank] =  np.poly1d(poly_coeffs).r
    return zera
@interact
def _(nmax=[200,5000,10000,20000,50000,100000],rank=slider(1,30,1,default=24)):
    print('Calculating roots, it will take approx.',nmax/500,'seconds')
    print('Total number of polynomials:',2**(rank+1), "we will take randomly",nmax)
    Rts = bin_poly_roots(Nmax=nmax,rank = 24)
    plt.figure(figsize=(5, 5)); plt.scatter(np.real(Rts), np.imag(Rts), s=1)

    @interact
    def _(nmax2=slider(0,10000,100,default=0)):

        if nmax2==0:
            print("Drawing roots of random polynommials")
            plt.show()
        else:
            print('Calculating first ',nmax2,'roots, it will take approx.',int(nmax2/500),'seconds')
            Rts2 = bin_poly_roots(Nmax=nmax2,rank = 24,rand=False)
            print("Drawing roots of ordered polynommials.")
            plt.scatter(np.real(Rts2), np.imag(Rts2), s=1, color='red')
            plt.show()
        @interact
        def density_plot(bins=[0,40,100,200],vmax=(0.3,10,0.1)):
                if bins==0:
                    print("set nonzero bins to see a density of roots")
                else:
                    H, xedges, yedges  = np.histogram2d(np.real(Rts),np.imag(Rts),bins=(bins,bins),range=[[-1.7,1.7]]*2,density=True)
                    plt.matshow(np.log(H), cmap='jet', vmax=vmax); plt.show()
"""  # noqa: E501 - the lines are counted


def test_a_warning_names_the_line_of_the_visitor_in_the_interact_that_it_belongs_to(cell):
    cell.evaluate(ROOTS)
    innermost = cell.output.locator(f"{OUTPUT} {OUTPUT} {OUTPUT}")
    expect(innermost).to_have_text("set nonzero bins to see a density of roots\n")
    for _ in range(2):
        cell.output.get_by_role("button", name="100", exact=True).click()
        warning = innermost.locator(".stderr")
        expect(warning).to_contain_text("43: RuntimeWarning: divide by zero encountered in log")
        expect(warning).to_contain_text("plt.matshow(np.log(H)")
        expect(cell.output.locator(".stderr")).to_have_count(1)
        image = innermost.locator("img")
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        share = image.evaluate(
            "image => { const canvas = document.createElement('canvas'); canvas.width = image.naturalWidth;"
            "canvas.height = image.naturalHeight; const context = canvas.getContext('2d');"
            "context.drawImage(image, 0, 0);"
            "const { data } = context.getImageData(0, 0, canvas.width, canvas.height); let blank = 0;"
            "for (let at = 0; at < data.length; at += 4)"
            "  if (data[at + 3] === 0 || data[at] + data[at + 1] + data[at + 2] === 765) blank += 1;"
            "return blank / (data.length / 4); }"
        )
        assert 0.2 < share < 0.95
        cell.output.get_by_role("button", name="0", exact=True).click()
        expect(innermost).to_have_text("set nonzero bins to see a density of roots\n")


def test_controls_of_a_kernel_that_ended_are_told(cell, site, page):
    cell.evaluate("import os\n@interact\ndef f(end=False):\n    end and os._exit(1)")
    cell.output.get_by_label("end").check()
    expect(cell.notice).to_contain_text("The controls above no longer do anything")
